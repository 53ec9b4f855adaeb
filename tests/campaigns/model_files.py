"""Mutated model files for as long as is given: each is refused, or computes the reference's bits.

    python -m tests.campaigns.model_files --seed 1 --minutes 60

What is found is written to ``--keep`` as files that ``edgeinfer.load`` takes;
tests.campaigns.runner says what counts as found.
"""

from tests.campaigns.runner import Campaign, main
from tests.model_file import mutants

FEW, MANY = 40, 400


def corpus(seed: int, small: bool) -> list[mutants.ModelFile]:
    return mutants.corpus(seed, FEW if small else MANY)


if __name__ == "__main__":
    main(Campaign(".eqm", corpus, mutants.mutant, mutants.outcome), __doc__)
