i = read()
if i:
    i = i + 1
    i = i + 1
    print(i)
else:
    i = 0
