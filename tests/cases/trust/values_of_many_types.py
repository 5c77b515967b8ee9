# values_of_many_types
# Expected: each comes back as what it was.
# Conditions: {"where": ["epoch == 3", null]}
import datetime, fractions, decimal, uuid, collections
from pathlib import Path
P = collections.namedtuple("P", "a b")
k = 0
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    k += epoch
    flor.log("k", k)
#H     flor.log("dt", datetime.datetime(2020, 1, 1) + datetime.timedelta(days=k))
#H     flor.log("fr", fractions.Fraction(k, 7))
#H     flor.log("de", decimal.Decimal(k) / 3)
#H     flor.log("big", 2 ** 70 + k)
#H     flor.log("cx", complex(k, 1))
#H     flor.log("np", np.float32(k) / 3)
#H     flor.log("ni", np.int64(k))
#H     flor.log("nb", np.bool_(k > 1))
#H     flor.log("arr", np.arange(k + 1, dtype=np.float16))
#H     flor.log("bf", torch.tensor([k / 3], dtype=torch.bfloat16))
#H     flor.log("nt", P(k, "x"))
#H     flor.log("pa", Path("a") / str(k))
#H     flor.log("by", bytes([k]))
#H     flor.log("nan", [float("nan"), float("inf"), -0.0])
#H     flor.log("none", None)
#H     flor.log("nested", {"a": [1, (2, 3), {"b": None}], 4: {5}})
