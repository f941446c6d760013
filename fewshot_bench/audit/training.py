"""Whether what is trained is reached by gradients, survives being saved, and is the same on an accelerator."""

import torch
from safetensors.torch import load, save
from torch import Tensor

from fewshot_bench.audit.subject import TASKS, Subject, compared, equal, moved_to
from fewshot_bench.audit.synthetic import CPU
from fewshot_bench.audit.verdicts import Fault, Skip
from fewshot_bench.episodes.randomness import seeded
from fewshot_bench.episodes.tasks import Tasks
from fewshot_bench.learning.answers import check_layers, checked_loss
from fewshot_bench.learning.base import Conditions, Method
from fewshot_bench.learning.few_steps import few_steps
from fewshot_bench.runs.checks.rescoring import BOUND, BOUND_64

UPDATES = 3
"""So many may a parameter wait for its first gradient, behind one that starts at zero."""
RATE = 0.01
NAMED = 5
"""Parameters that a message names."""
ROUNDING = 1e-10
"""Of the largest gradient: one as small is what rounding leaves."""


def losses(subject: Subject, method: Method, tasks: Tasks) -> Tensor:
    """The loss of each task, or of each image of a batch, in training."""
    conditions = Conditions(subject.method_class.default_mode if subject.kind == "classification" else "none")
    with method.train().under(conditions), few_steps(method), seeded(0, CPU):
        if subject.method_class.trains_on == "classes":
            return method.batch_loss(tasks.query_x.flatten(0, 1), tasks.targets.flatten())
        return method.loss(tasks)


def training_draws(subject: Subject) -> bool:
    """Whether a training draws from torch's generator, as dropout does."""
    tasks = subject.tasks()
    method = subject.build().train()
    conditions = Conditions(subject.method_class.default_mode if subject.kind == "classification" else "none")
    with method.under(conditions), few_steps(method), seeded(0, CPU) as drew:
        method.loss(tasks)
        return drew()


def training_losses(subject: Subject) -> str:
    """That the loss is one value a task (or image), and that of tasks in one call is that of one by one."""
    cls = subject.method_class
    if not cls.trained:
        raise Skip("it declares trained = False")
    tasks = subject.tasks()
    method = subject.build()
    together = checked_loss(method, losses(subject, method, tasks), _images(tasks) if cls.trains_on == "classes" else TASKS)
    together = together.detach()
    if not torch.isfinite(together).all():
        raise Fault(f"the loss is {together.tolist()[:3]}")
    if cls.trains_on == "classes":
        return f"batch_loss gives a value an image, {float(together.mean()):.4g} on average"
    if training_draws(subject):
        raise Skip("its loss draws from torch's generator (dropout): tasks in one call and one by one have other draws")
    apart = torch.cat([losses(subject, subject.build(), tasks.some(slice(i, i + 1))) for i in range(TASKS)])
    apart = apart.detach()
    gap, bound = float((together - apart).abs().max()), BOUND_64 if subject.dtype == torch.float64 else BOUND
    if gap > bound * float(together.abs().max()):
        raise Fault(f"losses {together.tolist()} of {TASKS} tasks in one call are {apart.tolist()} one by one")
    return f"losses differ by at most {gap:.2g} of {TASKS} tasks in one call and one by one"


def _images(tasks: Tasks) -> int:
    return tasks.query_x.shape[0] * tasks.query_x.shape[1]


def updated(subject: Subject, method: Method, tasks: Tasks) -> dict[str, float]:
    """The largest gradient of each parameter that is trained, for one update, which is made; 0 where there is none."""
    learned = {name: p for name, p in method.named_parameters() if p.requires_grad}
    method.zero_grad(set_to_none=True)
    losses(subject, method, tasks).sum().backward()
    sizes = {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in learned.items()}
    largest = max(sizes.values(), default=0.0)
    with torch.no_grad():
        for p in learned.values():
            if p.grad is not None and largest > 0:
                p.sub_(RATE * p.grad / largest)
    method.after_update()
    return sizes


def gradients(subject: Subject) -> str:
    """That the loss reaches every parameter that is trained."""
    if not subject.method_class.trained:
        raise Skip("it declares trained = False")
    tasks = subject.tasks()
    method = subject.build()
    reached: dict[str, float] = {}
    for _ in range(UPDATES):
        reached = {name: max(size, reached.get(name, 0.0)) for name, size in updated(subject, method, tasks).items()}
        if all(reached.values()):
            break
    if unreached := [name for name, size in reached.items() if not size > 0]:
        raise Fault(
            f"no gradient reaches {len(unreached)} of {len(reached)} parameters: {_few(unreached)}. "
            "Use them in the loss, or set requires_grad to False."
        )
    largest = max(reached.values())
    tiny = [name for name, size in reached.items() if size <= ROUNDING * largest]
    rest = f"; that of {_few(tiny)} is rounding, as where a normalisation takes out a bias" if tiny else ""
    return f"a gradient reaches each of {len(reached)} parameters{rest}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def layers(subject: Subject) -> str:
    """That no layer normalises by a batch where the declared mode does not reach it."""
    check_layers(subject.build().train())
    return "no layer of torch's normalises by the images of a call"


def saved(subject: Subject) -> str:
    """That what an update leaves in a method is in its state dict: another method that loads it says the same."""
    tasks = subject.tasks()
    method, again = (subject.build(seed=seed) for seed in (0, 1))
    if subject.method_class.trained:
        updated(subject, method, tasks)
    try:
        written = save({name: x.detach().contiguous() for name, x in method.state_dict().items()})
        again.load_state_dict(load(written))
    except (RuntimeError, ValueError, KeyError) as error:
        raise Fault(f"its state cannot be saved and loaded: {str(error).strip().splitlines()[0]}") from None
    return equal(subject.said(method, tasks), subject.said(again, tasks), "after saving and loading")


def accelerator(subject: Subject) -> str:
    """That an accelerator gives the scores of the CPU."""
    if not torch.cuda.is_available():
        raise Skip("there is no accelerator here: torch.cuda.is_available() is False")
    device, tasks = torch.device("cuda"), subject.tasks()
    before = subject.said_anew(tasks)
    after = subject.said(subject.build().to(device), moved_to(tasks, device))
    return compared(subject, before, after.to(CPU), f"on {torch.cuda.get_device_name(device)}")
