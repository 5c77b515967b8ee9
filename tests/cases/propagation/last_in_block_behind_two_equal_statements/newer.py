i = read()
if i:
    i = i + 1
    print(i)  # carry
else:
    i = 0
