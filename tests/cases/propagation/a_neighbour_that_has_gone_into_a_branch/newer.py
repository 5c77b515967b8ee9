def build(lines, alphabet):
    for line in lines:
        if len(line) > 2:
            pairs = line.strip().split()  # carry
            word = pairs[0]
            if alphabet.lower:
                word = word.lower()
            alphabet.add(word)
