i = read()
if i:
    i = i + 1
    i = i + 1
else:
    i = 0
