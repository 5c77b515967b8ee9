from tools import act, make_room, zeros

room = make_room("maze")
show(room)
shape = room.space.shape

shape = (shape[0] * 4, *shape[1:])
state = zeros(1, *shape)
act(room, state)
