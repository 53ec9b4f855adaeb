"""Mutated .tflite files for as long as is given: refused, or made integers with the right bits.

    python -m tests.campaigns.tflite_files --seed 1 --minutes 60

Models of each operator that is read, and quantized networks, are changed as what they say and as
bytes. tests.campaigns.runner says what counts as found.
"""

from tests.campaigns.runner import Campaign, main
from tests.converters import tflite_mutants as mutants

if __name__ == "__main__":
    main(Campaign(".tflite", mutants.corpus, mutants.mutant, mutants.outcome), __doc__)
