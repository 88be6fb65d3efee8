"""Knowledge distillation: DMP (Shejwalkar and Houmansadr, AAAI 2021), where members are seen by a teacher alone."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from core.defenses.base import Loss, Objective, Setting, Step
from core.defenses.endless import endless_rows

if TYPE_CHECKING:
    import torch


class Distillation(Objective):
    """Knowledge distillation: the model learns a teacher's outputs on other records and never sees the members.

    First a teacher, a copy of the model as it starts, is trained on the members with cross-entropy and the same recipe.
    The loss is T²·KL(teacher ‖ model), mean over the batch, both outputs softened by the temperature T; T² keeps the
    size of the gradient. `reference` (distillation for membership privacy, DMP): on reference records, as many per step
    as a batch has; the members move nothing in the model. `members`: on the members themselves (self-distillation).
    Where tuning starts from trained weights, as after a rewind, the model still has what these learned from members.
    """

    title: ClassVar[str] = "Knowledge distillation"
    work: ClassVar[float] = 2.0
    kind: Literal["distillation"] = "distillation"
    on: Literal["reference", "members"] = "reference"
    """Records whose soft labels are learned: the reference set (DMP), or the members (self-distillation)."""
    temperature: float = Field(1.0, gt=0, le=1000)
    """Temperature T of both outputs; higher is softer. DMP's authors: Purchase 1; public self-distillation code: 10."""

    def start(self, setting: Setting) -> Loss:
        """Train the teacher. Raises BadInput where `reference` is asked for and there is none."""
        from core.training.device import fast_layout
        from core.training.loop import predict

        x_re = setting.non_members("distillation")[0] if self.on == "reference" else None
        assert setting.train is not None
        teacher = copy.deepcopy(setting.model)
        setting.train(teacher)
        if x_re is None:
            return lambda step: self.divergence(teacher=predict(teacher, step.x), student=step.logits)

        told = predict(teacher, x_re)
        next_rows = endless_rows(len(x_re), setting.generator)
        statistics = list(setting.model.buffers())
        kept = [b.clone() for b in statistics]

        def loss(step: Step) -> torch.Tensor:
            nonlocal kept
            for now, before in zip(statistics, kept, strict=True):
                # batch norm has just counted the members of this step: forget them
                now.copy_(before)
            rows = next_rows(min(len(step.y), len(x_re))).to(x_re.device)
            value = self.divergence(teacher=told[rows], student=step.model(fast_layout(x_re[rows])))
            kept = [b.clone() for b in statistics]
            return value

        return loss

    def divergence(self, *, teacher: torch.Tensor, student: torch.Tensor) -> torch.Tensor:
        """T²·KL(teacher ‖ student) of logits [B, K], mean over the batch; the teacher's without gradient."""
        import torch.nn.functional as F

        now, told = (F.log_softmax(z.float() / self.temperature, 1) for z in (student, teacher.detach()))
        return self.temperature**2 * F.kl_div(now, told, reduction="batchmean", log_target=True)
