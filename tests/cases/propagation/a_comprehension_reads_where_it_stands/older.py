from tools import parse, run

options = parse()
my_sizes = [int(size) for size in my_sizes.split(",")]
images = options.images
run(images, my_sizes)
