def build(lines, alphabet):
    for line in lines:
        if len(line) > 2:
            pairs = line.strip().split()
            try:
                word = pairs[0].decode("utf-8")
            except AttributeError:
                word = pairs[0]
            if alphabet.lower:
                word = word.lower()
            alphabet.add(word)
