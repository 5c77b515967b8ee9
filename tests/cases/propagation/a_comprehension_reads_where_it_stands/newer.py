from tools import parse, run

options = parse()
sizes = options.sizes  # carry
images = options.images
run(images)
