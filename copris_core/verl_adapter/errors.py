"""What the user sees when a choice is wrong."""


class ConfigError(ValueError):
    """A key or a combination of choices is wrong; the message is one line that says the mend."""


class TrainingError(RuntimeError):
    """A run ended before its last step; the message is one line with the cause and the logs."""
