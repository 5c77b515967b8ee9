import flor_ray as flor

flor.log("a", 1
