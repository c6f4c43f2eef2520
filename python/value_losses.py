"""Losses that use how good an output is, not only whether it is: TRL's trainers with one term changed each.

Scope: weighted SFT and DPO with soft labels or offsets. Which of them a stage uses, and from which data, is said by its YAML
file (src/train/stage-file.ts); python/train.py builds the trainer. Nothing else of TRL's trainers is changed, so checkpoints,
metrics and the reference are theirs.
"""

import torch
import trl.trainer.dpo_trainer as trl_dpo
from torch.nn import functional
from trl import DPOTrainer, SFTTrainer


class WithColumn:
    """A collator that also passes a column of numbers on."""

    def __init__(self, collator, column: str):
        self.collator, self.column = collator, column

    def __call__(self, examples: list[dict]) -> dict:
        numbers = torch.tensor([example[self.column] for example in examples], dtype=torch.float32)
        return self.collator(examples) | {self.column: numbers}


class KeepsColumn:
    """Keeps one column of the data, beside those that the model reads, up to the loss."""

    column: str

    def __init__(self, *args, **keys):
        super().__init__(*args, **keys)
        self.data_collator = WithColumn(self.data_collator, self.column)

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        if self.column not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, self.column]


class WeightedSFTTrainer(KeepsColumn, SFTTrainer):
    """
    SFT in which an example's log-likelihood counts `weight` times. The loss is still divided by the number of tokens, not
    by the sum of weights, so weights of mean 1 leave the meaning of the learning rate as it is. With exp(advantage / τ) as
    weights this is advantage-weighted regression (Peng et al. 2019, arXiv 1910.00177).
    """

    column = "weight"

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        weight = inputs.pop(self.column)

        def weighted(**given):
            outputs = model(**given)
            outputs.log_probs = outputs.log_probs * weight[:, None]
            return outputs

        return super().compute_loss(weighted, inputs, return_outputs, num_items_in_batch)


def pair_loss(margin, gap, rule: str | None, smoothing: float):
    """
    The loss of DPO's pairs, and what it becomes.
    - plain: −log σ(margin), which has no optimum: it falls as long as the margin grows.
    - smoothing ε (conservative DPO: Mitchell 2023): −(1 − ε) log σ(margin) − ε log σ(−margin), least at margin ln((1 − ε) / ε).
      TRL's `label_smoothing` does not do this in its loss `sigmoid`.
    - rule "target": the same with 1 − ε = σ(gap) for each pair, least where the margin is the difference of values: the
      policy that is optimal under a KL penalty with these values as its reward (the paper's A.6.2) has these margins.
    - rule "offset" (Amini et al. 2024, ODPO, arXiv 2402.10571): −log σ(margin − gap), at least the difference of values.
    @param margin: β times the difference of the log-ratios to the reference, one per pair
    @param gap: the differences of values, in [0, 1]
    """
    sure = torch.sigmoid(gap) if rule == "target" else 1 - smoothing
    shifted = margin - gap if rule == "offset" else margin
    return -sure * functional.logsigmoid(shifted) - (1 - sure) * functional.logsigmoid(-shifted)


class ValueDPOTrainer(KeepsColumn, DPOTrainer):
    """DPO with {@link pair_loss}. Set `rule` after it is built; smoothing is the key `label_smoothing`."""

    column = "margin"
    rule: str | None = None

    def _compute_loss(self, model, inputs, return_outputs):
        gap = inputs.pop(self.column)
        asked = []

        class Functional:
            """torch.nn.functional for the time of this call: TRL takes a pair's loss as −logsigmoid(margin), once."""

            def __getattr__(self, name):
                return getattr(functional, name)

            @staticmethod
            def logsigmoid(margin):
                asked.append(margin)
                return -pair_loss(margin, gap, self.rule, self.label_smoothing)

        trl_dpo.F = Functional()
        try:
            loss = super()._compute_loss(model, inputs, return_outputs)
        finally:
            trl_dpo.F = functional
        if len(asked) != 1 or asked[0].shape != gap.shape:
            raise RuntimeError("this version of TRL computes the loss of DPO in another way; train with plain DPO")
        return loss
