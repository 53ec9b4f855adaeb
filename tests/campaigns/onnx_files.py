"""Mutated ONNX files for as long as is given: each is refused, or becomes integers with right bits.

    python -m tests.campaigns.onnx_files --seed 1 --minutes 60

Models of single operators, networks, loops and quantized models are changed as messages of protobuf
and as bytes. tests.campaigns.runner says what counts as found.
"""

from tests.campaigns.runner import Campaign, main
from tests.converters import onnx_mutants as mutants

if __name__ == "__main__":
    main(Campaign(".onnx", mutants.corpus, mutants.mutant, mutants.outcome), __doc__)
