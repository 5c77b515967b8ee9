from tools import ceil, cut, random_below, wide


def crop(image, width, height, ratio, low, high):
    if wide(image):
        room = ceil(height * ratio)
        image = cut(image, room)
    else:
        if height > 0:
            region = high - low
            room = ceil(width / ratio)
            rest = room - region
            if rest > 0:
                start = random_below(rest)
            image = cut(image, start)
    return image
