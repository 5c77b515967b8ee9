for arg in args:
    pair = arg.split("=")
    check(pair)
    key, val = pair  # carry
    try:
        val = literal_eval(val)
    except ValueError:
        pass
    apply(config, key, val)
