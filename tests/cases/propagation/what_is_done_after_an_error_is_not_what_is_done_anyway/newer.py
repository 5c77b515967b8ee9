import flor_ray as flor

count = 3
try:
    run()
finally:
    flor.log("count", count)  # carry
    close()
