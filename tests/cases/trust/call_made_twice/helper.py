def _numbers():
    n = 0
    while True:
        yield n * n
        n += 1


_of_generator = _numbers()
_of_list = iter([n * n for n in range(100)])


def take():
    return next(_of_list)


def take_other():
    return next(_of_generator)
