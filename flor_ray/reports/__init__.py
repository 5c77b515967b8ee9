"""Values in, words and pages out: what people are told of plans, replays, timelines and stores."""
