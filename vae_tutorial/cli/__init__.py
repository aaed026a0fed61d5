"""The command line: ``vae-tutorial``, or ``python -m vae_tutorial``.

``settings`` says what can be set; ``main`` reads it and turns errors into exit codes. ``train``,
``evaluate``, ``sample`` and ``data`` are the commands: in each, ``run`` takes settings, writes
files, and returns what there is to say. ``runs`` knows the folder that a run is kept in.
"""
