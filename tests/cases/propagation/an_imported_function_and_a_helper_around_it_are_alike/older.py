from fields import Field
from texts import ALPHABET, to_numbers_of


def to_numbers_here():
    return to_numbers_of(Letters)


class Letters:
    alphabet = ALPHABET
    size = 1
