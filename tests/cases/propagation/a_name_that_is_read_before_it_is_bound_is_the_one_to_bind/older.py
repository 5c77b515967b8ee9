for arg in args:
    pair = arg.split("=")
    check(pair)
    try:
        value_read = literal_eval(val)
    except ValueError:
        value_read = val
    apply(config, key, value_read)
