"""The command line: ``vae-tutorial``, or ``python -m vae_tutorial``.

``settings`` says what can be set; ``main`` reads it and turns errors into exit codes. Each of
``train``, ``evaluate``, ``sample`` and ``data`` is a command: ``run`` makes results of settings,
``report`` makes of these what a person reads. ``runs`` knows the folder that a run is kept in.
"""
