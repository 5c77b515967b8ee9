from tools import act, make_room, zeros

room = make_room("maze")
show(room)

shape = room.space.shape  # carry
state = zeros(1, *shape)
act(room, state)
