import flor_ray as flor
import decimal, fractions, datetime, pathlib
d, f, t, p = decimal.Decimal(1), fractions.Fraction(1), datetime.datetime(2020, 1, 1), pathlib.Path("a")
big, neg, nan, text = 2**70, -0.0, float("nan"), ""
flor.checkpointing()
for epoch in flor.loop("epoch", range(4)):
    for step in flor.loop("step", range(2)):
        d += 1; f *= 2; t += datetime.timedelta(days=1); p = p / "b"; big += 1; text += "é"
    flor.log("tail", [str(d), str(f), str(t), str(p), big, text, str(neg), str(nan)])
flor.log("suffix", [str(d), big])
