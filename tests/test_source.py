from srlib.draw.source import source
from srlib.papers.difficulty_sr import model


def test_source_shows_code_as_it_runs_without_its_docstring():
    text = source(model.classes, model.DualBranchSR.mask).data
    assert text.startswith("```python\ndef classes(psnr: Tensor) -> Tensor:\n    return torch.bucketize(")
    assert "\n\n\ndef mask(self" in text and '"""' not in text and text.endswith("```")
    assert "hardest, below 30 dB" in source(model.classes, docstring=True).data
