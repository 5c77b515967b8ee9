from tools import cut, floor, random_below, wide


def crop(image, width, height, ratio, low, high):
    if wide(image):
        room = floor(height * ratio)
        image = cut(image, room)
    else:
        room = floor(width / ratio)
        if height > room:
            region = high - low + 1
            rest = room - region  # carry
            if low == 0:
                start = 0
            elif rest > 0:
                start = random_below(rest)
            image = cut(image, start)
    return image
