from fields import Field
from texts import ALPHABET, to_numbers


class Letters:
    alphabet = ALPHABET
    field = Field(sequential=False, preprocessing=to_numbers)  # carry
    size = 1
