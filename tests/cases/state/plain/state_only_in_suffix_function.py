import flor_ray as flor
log_lines = []
def log_line(x): log_lines.append(x)
def report(): return " ".join(log_lines)
flor.checkpointing()
for epoch in flor.loop("epoch", range(3)):
    for step in flor.loop("step", range(2)):
        log_line(f"{epoch}.{step}")
text = report()
flor.log("suffix", text)
