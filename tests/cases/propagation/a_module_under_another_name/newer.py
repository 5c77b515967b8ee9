import json as js

import flor_ray as flor

text = js.dumps({})
flor.log("size", len(js.dumps({}, indent=1)))  # carry
done(text)
