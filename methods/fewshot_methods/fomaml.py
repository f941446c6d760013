"""First-order MAML (Finn, Abbeel & Levine 2017, section 5.2, https://arxiv.org/abs/1703.03400).

MAML whose meta-gradient takes each inner gradient for a constant: the gradient of the adapted parameters' query loss is
applied to the initialisation as it is, without second derivatives.

    theta' = theta - alpha * stop(grad L_support(theta))        minimise over theta: sum over tasks of L_query(theta')

Deviations: those of `maml`, whose code this is (`--stop_grad` in the authors').
"""

from dataclasses import dataclass

from fewshot_methods.maml import Maml, MamlHparams


@dataclass(frozen=True)
class FomamlHparams(MamlHparams):
    """Hyper-parameters of first-order MAML."""

    first_order: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.first_order:
            raise ValueError("first_order is what fomaml is: for second derivatives take the method maml.")


class Fomaml(Maml):
    """MAML without second derivatives."""

    Hparams = FomamlHparams
