"""First-order MAML (Finn, Abbeel & Levine 2017, section 5.2, https://arxiv.org/abs/1703.03400).

MAML whose meta-gradient treats each inner gradient as a constant: the gradient of the query loss by the adapted parameters
is applied to the initialisation unchanged, without second derivatives.

    theta' = theta - alpha * stop(grad L_support(theta))        minimise over theta: sum over tasks of L_query(theta')

Deviations: those of `maml`, whose code this is (`--stop_grad` in the authors').
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from fewshot_methods.maml import Maml, MamlHparams


@dataclass(frozen=True)
class FomamlHparams(MamlHparams):
    """Hyper-parameters of first-order MAML."""

    first_order: Annotated[Literal[True], Field(description="For second derivatives use the method maml")] = True


class Fomaml(Maml):
    """MAML without second derivatives."""

    Hparams = FomamlHparams
