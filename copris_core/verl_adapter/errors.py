"""What the user sees when a choice is wrong."""


class ConfigError(ValueError):
    """A key or a combination of choices is wrong; the message is one line that says the mend."""


class TrainingError(RuntimeError):
    """A run ended before its last step; the message is one line with the cause and the logs."""


def one_of(key: str, value: object, options: tuple[str, ...]) -> None:
    """Refuse a value that is no option.

    Raises:
        ConfigError: see above.
    """
    if value not in options:
        raise ConfigError(f"{key}={value} is unknown: use one of {', '.join(options)}")
