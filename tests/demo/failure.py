"""The one way in which the demo fails."""


class Failure(Exception):
    """Something is not as it must be; the text says what, for a person."""


def expect(condition, otherwise):
    """Fails with the text unless the condition holds."""
    if not condition:
        raise Failure(otherwise)
