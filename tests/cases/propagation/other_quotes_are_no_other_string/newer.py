import flor_ray as flor

parser.add_argument("--half", action="store_true")
parser.add_argument("--inplace", action="store_true", help="in place")  # carry
x = {"a": flor.log("it's", 1), "b": r"\d"}
flor.log("n", x["b"])  # carry
done("now")
