# The older version makes these calls inside other ones, and the newest names their results: a second call takes the next
# items, in another file, where nobody sees it coming. Only the first value is right, so all of them are doubted.
import flor_ray as flor
from helper import take, take_other

flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
#R     batch = take()
    print(take())
#H     print(batch)
#H     flor.log("batch", batch)
#R     other = take_other()
    print(take_other())
#H     print(other)
#H     flor.log("other", other)
    flor.log("e", epoch)
