"""The command line: ``vae-tutorial``, or ``python -m vae_tutorial``."""
