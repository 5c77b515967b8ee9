"""The command line, `flor-ray`: words and exit codes only."""
