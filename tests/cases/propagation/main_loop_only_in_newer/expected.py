import flor_ray as flor
flor.log('x', 1)
