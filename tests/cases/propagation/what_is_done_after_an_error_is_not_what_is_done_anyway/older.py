import flor_ray as flor

count = 3
try:
    run()
except ValueError:
    close()
