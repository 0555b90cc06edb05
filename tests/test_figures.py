import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.path import Path as Line
from PIL import Image

from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.draw.figures import (
    Example,
    busiest_box,
    calmest_box,
    error_map,
    psnr_against_cost,
    psnr_curves,
    save_figure,
    training_curves,
    use_style,
    visual_comparison,
)
from srlib.draw.panels import framed
from srlib.draw.style import DPI


def splits(seeds=3):
    rng = np.random.default_rng(0)
    rows = [
        {"method": f"{low}+{10 - low}", "seed": s, "seconds": 0.4 + 0.2 * (10 - low), "mult_adds": 100.0 * (11 - low)}
        | {"psnr": 34.1 - 0.003 * (low - 6) ** 2 + 0.01 * rng.normal()}
        for low in range(10, -1, -1)
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def extents(fig):
    """Draw a figure of one chart, which decides where everything is; return the boxes of its labels, in pixels."""
    fig.draw_without_rendering()
    return [text.get_window_extent() for text in fig.axes[0].texts if text.get_text()]


@pytest.mark.parametrize(
    ("x", "label", "connect"), [("seconds", "Time (s)", False), ("mult_adds", "Mult-adds (G, 1280×720)", True)]
)
def test_psnr_against_cost_labels_every_point_without_overlap(x, label, connect):
    fig = psnr_against_cost(splits(), x, where="Set5 ×2", highlight=["6+4"], connect=connect)
    (ax,) = fig.axes
    assert ax.get_xlabel() == label and ax.get_ylabel() == "PSNR (dB), Set5 ×2"
    assert [text.get_text() for text in ax.texts if text.get_text()] == list(dict.fromkeys(splits()["method"]))
    assert [text.get_text() for text in ax.texts if text.get_fontweight() == "bold"] == ["6+4"]
    labels = extents(fig)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(labels, 2))
    means = splits().groupby("method", sort=False)[[x, "psnr"]].mean().to_numpy()
    assert not any(box.contains(*point) for box in labels for point in ax.transData.transform(means))
    assert all(ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 + 1 for box in labels)
    assert "3 seeds" in ax.get_title(loc="left")


def leaders(ax):
    """The lines from labels to points, in pixels: from the label to the point."""
    return [ax.transData.transform(arrow.get_path().vertices[[0, -1]]) for arrow in ax.patches]


def test_labels_of_a_crowd_stay_apart_and_inside_and_only_those_that_moved_are_joined_to_their_points():
    apart = pd.DataFrame({"method": ["a", "b"], "psnr": [30.0, 31.0], "seconds": [1.0, 2.0]})
    (ax,) = psnr_against_cost(apart).axes
    assert [text.get_text() for text in ax.texts] == ["a", "b"] and not ax.patches
    crowd = pd.DataFrame({"method": [f"a long name {n}" for n in range(9)], "psnr": 30.0, "seconds": np.linspace(1, 1.02, 9)})
    crowd.loc[9] = ["far", 31.0, 2.0]
    fig = psnr_against_cost(crowd)
    (ax,), labels = fig.axes, extents(fig)
    assert len(labels) == 10
    for a, b in itertools.combinations(labels, 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 3 or min(a.y1, b.y1) - max(a.y0, b.y0) < 3  # pixels of an overlap
    assert all(ax.bbox.x0 - 1 <= box.x0 and box.x1 <= ax.bbox.x1 + 1 for box in labels)
    assert all(ax.bbox.y0 - 1 <= box.y0 and box.y1 <= ax.bbox.y1 + 1 for box in labels)
    far = ax.transData.transform((2.0, 31.0))
    assert leaders(ax) and all(np.hypot(*(end - far)) > 50 for _, end in leaders(ax))


def test_a_label_at_the_right_edge_does_not_cover_its_point():
    table = pd.DataFrame(
        {"method": [f"KPN (K={k})" for k in (5, 7, 13, 19)], "psnr": [27.664796, 27.684266, 27.723732, 27.746437]}
    )
    table["parameters"] = [326_905, 333_841, 368_521, 424_009]
    fig = psnr_against_cost(table, "parameters", where="a set", about="protocol, seeds and steps")
    labels = extents(fig)
    points = fig.axes[0].transData.transform(table[["parameters", "psnr"]])
    for box, (x, _) in zip(labels, points, strict=True):
        assert box.x1 < x or x < box.x0


def test_the_line_to_a_label_crosses_no_other_label():
    near = {"long name of a method": (128, 29.317), "RDN, fused": (414, 29.27), "RRDBNet, fused": (360, 29.212)}
    near |= {"EDSR": (307, 29.386), "IMDN": (174, 29.257), "SRResNet": (307, 29.283), "a": (1430, 29.09), "b": (149, 28.947)}
    near["c"] = (299, 29.525)
    rows = [{"method": method, "parameters": 1000 * size, "psnr": psnr} for method, (size, psnr) in near.items()]
    rows += [{"method": "seeds", "parameters": 174000, "psnr": psnr} for psnr in (28.95, 29.2, 29.46)]
    fig = psnr_against_cost(pd.DataFrame(rows), "parameters")
    labels, lines = extents(fig), leaders(fig.axes[0])
    assert lines and len(labels) == 10
    for start, end in lines:
        own = min(labels, key=lambda box: np.hypot(*(np.clip(start, box.min, box.max) - start)))
        assert not any(Line([start, end]).intersects_bbox(box, filled=False) for box in labels if box is not own)


def test_a_line_below_says_how_the_points_came_about_and_covers_nothing():
    about = "protocol btsrn; one seed each, another may move a point by 0.1 dB; 1,200 steps each"
    fig = psnr_against_cost(splits(), about=about)
    fig.draw_without_rendering()
    (ax,), line = fig.axes, fig._supxlabel
    assert line.get_text().replace("\n", " ") == about
    assert line.get_window_extent().y1 <= ax.xaxis.label.get_window_extent().y0 and line.get_window_extent().x1 <= fig.bbox.x1
    assert psnr_against_cost(splits())._supxlabel is None


def test_psnr_against_cost_shows_the_spread_over_seeds():
    table = pd.DataFrame({"method": ["a", "a", "b", "b"], "psnr": [30.0, 31.0, 33, 33], "seconds": [1.0, 1.0, 2.0, 2.0]})
    (ax,) = psnr_against_cost(table).axes
    bars = [line for line in ax.collections if hasattr(line, "get_segments")]
    low, high = bars[0].get_segments()[0][:, 1]
    assert (low + high) / 2 == pytest.approx(30.5) and (high - low) / 2 == pytest.approx(np.std([30, 31], ddof=1))
    (ax,) = psnr_against_cost(table.iloc[[0, 2]]).axes
    assert ax.get_title(loc="left") == ""  # one seed: no bars to explain


def test_psnr_against_cost_draws_what_another_seed_may_do_behind_points_of_one_seed():
    table = pd.DataFrame({"method": ["a", "a", "b"], "psnr": [30.0, 31.0, 33], "seconds": [1.0, 1.0, 2.0]})
    (ax,) = psnr_against_cost(table, noise=0.4).axes
    assert np.allclose(ax.collections[-1].get_segments(), [[[2, 32.8], [2, 33.2]]]) and "0.4 dB" in ax.get_title(loc="left")


def test_points_of_equal_cost_that_are_closer_than_another_seed_may_move_them_are_one():
    rows = {"a": (30.0, 2.0), "b": (30.3, 2.0), "c": (30.08, 2.0), "d": (30.0, 3.0)}
    table = pd.DataFrame([{"method": name, "psnr": psnr, "seconds": cost} for name, (psnr, cost) in rows.items()])
    (ax,) = psnr_against_cost(table, noise=0.1, highlight=["c"]).axes
    texts = {text.get_text(): text.get_fontweight() for text in ax.texts if text.get_text()}
    assert texts == {"a ≈ c": "bold", "b": "normal", "d": "normal"}
    assert np.allclose(ax.collections[-1].get_segments()[0], [[2, 29.99], [2, 30.09]]) and "mean" in ax.get_title(loc="left")


def test_psnr_curves_name_the_value_that_a_training_ends_with():
    curves = {"2 layers": pd.Series([30.0, 33.0], [10, 20]), "14 layers": pd.Series([31.0, 33.5], [10, 20])}
    fig = psnr_curves(curves, "Set5")
    (ax,), (legend,) = fig.axes, fig.legends
    assert [text.get_text() for text in legend.get_texts()] == ["2 layers: 33.00 dB", "14 layers: 33.50 dB"]
    assert [list(line.get_ydata()) for line in ax.lines] == [[30, 33], [31, 33.5]] and "Set5" in ax.get_ylabel()
    with pytest.raises(SRError, match="curves is empty"):
        psnr_curves({}, "Set5")


@pytest.mark.parametrize(("costs", "scale"), [([1, 600], "log"), ([1, 11], "log"), ([1, 9], "linear"), ([0, 600], "linear")])
def test_psnr_against_cost_takes_a_log_axis_for_costs_far_apart(costs, scale):
    table = pd.DataFrame({"method": ["a", "b"], "psnr": [30.0, 31.0], "mult_adds": costs})
    assert psnr_against_cost(table, "mult_adds").axes[0].get_xscale() == scale


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": "second"}, "unknown x 'second'. Did you mean 'seconds'"),
        ({"highlight": ["4+5"]}, "unknown highlight '4.5'"),
        ({"table": splits().drop(columns="psnr")}, "lacks the column 'psnr'"),
        ({"table": splits().assign(seconds=np.nan)}, "misses values of psnr or seconds"),
        ({"table": splits().iloc[:0]}, "no rows"),
    ],
)
def test_psnr_against_cost_says_what_is_wrong(change, message):
    with pytest.raises(SRError, match=message):
        psnr_against_cost(**{"table": splits()} | change)


def example(name="one", side=64, box=(8, 16, 24, 32), off=10):
    hr = np.random.default_rng(len(name)).integers(60, 180, (side, side, 3), dtype=np.uint8)
    return Example(name, hr, {"Bicubic": hr.astype(float) + off, "BTSRN": hr.copy()}, box)


def test_error_map_sums_over_colours():
    hr = np.zeros((4, 5, 3), np.uint8)
    sr = hr + np.array([1, 2, 3], np.uint8)
    assert (error_map(sr, hr) == 6).all() and (error_map(hr, sr) == 6).all()
    assert (error_map(np.full((4, 5), 3.0), hr) == 9).all()


def test_a_framed_picture_is_whole_and_has_a_red_frame_around_the_box():
    hr = np.full((100, 200, 3), 90, np.uint8)
    square = framed(hr, (20, 60, 40, 80), 400)
    assert square.shape == (400, 400, 3) and (square[:90] == 255).all() and (square[110:120, 10:100] == 90).all()
    rows, columns = np.nonzero((square == (214, 0, 0)).all(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (140, 218, 120, 278)
    assert (square[150:200, 130:260] == 90).all()


def test_visual_comparison_shows_pictures_errors_and_numbers():
    fig = visual_comparison([example("one"), example("two")], protocol("btsrn_div2k"), 2, "EDSR is missing")
    assert len(fig.axes) == 2 * 7
    (_, *first, first_map, second_map, bar), (_, *second) = fig.axes[:7], fig.axes[7:]
    assert [ax.get_title() for ax in first] == ["Bicubic", "BTSRN", "HR (ground truth)"]
    assert first_map.get_ylabel() == "|SR − HR|"
    assert first[0].get_xlabel() == f"{20 * np.log10(255 / 10):.2f} dB" and first[1].get_xlabel() == "inf dB"
    assert "grey levels" in bar.get_ylabel()
    for picture, error in zip(first, (first_map, second_map), strict=False):  # each over its own error
        (left, top), (x, y) = picture.get_position().p0, error.get_position().p0
        assert left == x and y + error.get_position().height < top
    maps = [ax.images[0] for ax in (first_map, second_map, second[3], second[4])]
    assert len({image.get_clim() for image in maps}) == 1  # one scale, so that colours compare
    assert (maps[0].get_array() == 30).all() and (maps[1].get_array() == 0).all()
    assert (first[2].images[0].get_array() == example("one").hr[8:32, 16:48]).all()
    below = fig.texts[-1].get_text()
    assert all(text in below for text in ("24", "RGB", "EDSR is missing"))


def test_visual_comparison_frames_its_part_in_the_whole_picture():
    tall = np.zeros((200, 64, 3), np.uint8)
    portrait = Example("a portrait with a long name", tall, dict.fromkeys(("Bicubic", "BTSRN"), tall), (8, 16, 24, 32))
    examples = [example("one"), portrait]
    fig = visual_comparison(examples, protocol("y"), 2)
    fig.draw_without_rendering()
    for whole, first, error, shown in zip(fig.axes[::7], fig.axes[1::7], fig.axes[4::7], examples, strict=True):
        assert (whole.images[0].get_array() == shown.hr).all()
        assert " ".join(whole.get_xlabel().split()) == shown.name
        assert {(p.get_xy(), p.get_width(), p.get_height()) for p in whole.patches} == {((15.5, 7.5), 32, 24)}
        place, label = whole.get_position(), whole.xaxis.label.get_window_extent()
        assert place.y1 == pytest.approx(first.get_position().y1, abs=1e-3)
        assert label.y0 >= error.get_window_extent().y0 and label.x1 < error.yaxis.label.get_window_extent().x0


def test_visual_comparisons_stand_side_by_side_where_they_fit():
    def corners(methods):
        hr = example().hr
        alike = Example("one", hr, {f"{method}": hr for method in range(methods)}, example().box)
        fig = visual_comparison(3 * [alike], protocol("y"), 2)
        assert fig.get_size_inches()[0] < 13.1
        return [tuple(np.round(ax.get_position().p0, 6)) for ax in fig.axes[1 :: 2 * methods + 3]]

    (x, y), (right, same), (left, below) = corners(1)
    assert right > x and same == y and left == x and below < y
    stacked = corners(5)
    assert len({x for x, _ in stacked}) == 1 and [y for _, y in stacked] == sorted({y for _, y in stacked}, reverse=True)


def test_visual_comparison_enlarges_by_whole_pixels(tmp_path):
    (file, _) = save_figure(visual_comparison([example()], protocol("btsrn"), 2), tmp_path, "figure_5")
    picture = np.asarray(Image.open(file).convert("RGB"))
    k = round(1.9 * DPI / 32)
    part = example().hr[8:32, 16:48]
    truth = part.repeat(k, axis=0).repeat(k, axis=1)
    corners = np.argwhere((picture == part[0, 0]).all(axis=2))
    exact = [(y, x) for y, x in corners if np.array_equal(picture[y : y + 24 * k, x : x + 32 * k], truth)]
    assert len(exact) == 2  # BTSRN is exact in this example, so its picture is the ground truth too


def test_visual_comparison_takes_grey_images():
    grey = np.full((40, 40), 90, np.uint8)
    fig = visual_comparison([Example("grey", grey, {"Bicubic": grey + 5.0}, (0, 0, 40, 40))], protocol("btsrn"), 2)
    assert (fig.axes[3].images[0].get_array() == 15).all()  # three channels


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "examples is empty"),
        ([example(), example("two", box=(8, 16, 24, 24))], "two has other methods or another size of box than one"),
        ([example(box=(50, 0, 24, 32))], r"box \(=\(50, 0, 24, 32\)\) of one must lie inside \(64, 64\)"),
        ([example(box=(0, 0, 4, 4))], "at least 8 pixels"),
        ([Example("one", example().hr, {"Bicubic": example().hr[:32]}, example().box)], r"one is \(32, 64\), HR is \(64, 64\)"),
    ],
)
def test_visual_comparison_says_what_is_wrong(examples, message):
    with pytest.raises(SRError, match=message):
        visual_comparison(examples, protocol("btsrn"), 2)


def test_boxes_are_where_most_and_where_least_happens():
    hr = example().hr.copy()
    hr[20:40, 30:50] = 99
    hr[44:60:2, 4:20] = 255
    top, left, *size = calmest_box(hr, 16)
    assert 20 <= top <= 24 and 30 <= left <= 34 and size == [16, 16]
    assert busiest_box(hr, 16)[:2] == (43, 4) and busiest_box(hr[:8], 16)[2:] == (8, 8)


def history(**columns):
    steps = [0, 10, 20]
    return pd.DataFrame({"step": steps, "loss": [np.nan, 0.1, 0.05], "learning_rate": [1e-3, 5e-4, 0.0]} | columns)


def test_training_curves_have_a_panel_per_quantity_and_a_line_per_run():
    fig = training_curves({"a": history(psnr=[20.0, 25.0, 26.0]), "b": history()}, "embedded-test")
    assert [ax.get_ylabel() for ax in fig.axes] == ["training loss", "PSNR (dB), embedded-test", "learning rate"]
    assert [len(ax.lines) for ax in fig.axes] == [2, 2, 2] and {ax.get_xlabel() for ax in fig.axes} == {"step"}
    assert list(fig.axes[0].lines[0].get_xdata()) == [10, 20]  # before the first step there is no loss
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b"]
    alone = training_curves({"a": history()})
    assert len(alone.axes) == 2 and not alone.legends


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ({}, "histories is empty"),
        ({"a": history().drop(columns="loss")}, "history of 'a' has no steps with loss"),
        ({"a": history().iloc[:0]}, "history of 'a' has no steps"),
    ],
)
def test_training_curves_say_what_is_wrong(histories, message):
    with pytest.raises(SRError, match=message):
        training_curves(histories)


def test_saved_figures_are_the_same_byte_for_byte_and_their_points_lie_beside(tmp_path):
    points = pd.DataFrame({"method": ["a", "b"], "psnr": [30.0, 31.0], "seconds": [1.0, 2.0]})
    first, second = (save_figure(psnr_against_cost(points), tmp_path / folder, "figure_3", points) for folder in "ab")
    assert [f.name for f in first] == ["figure_3.png", "figure_3.svg", "figure_3.csv"]
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in second]
    assert Image.open(first[0]).info["dpi"][0] == pytest.approx(DPI, abs=0.1)
    assert "<svg" in first[1].read_text() and "<dc:date>" not in first[1].read_text()
    pd.testing.assert_frame_equal(pd.read_csv(first[-1]), points, rtol=1e-7, check_dtype=False)
    assert len(list((tmp_path / "a").iterdir())) == 3


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    fig = training_curves({"a": history()})
    files = save_figure(fig, tmp_path, "curves")
    old = [f.read_bytes() for f in files]

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SRError, match="No space left"):
        save_figure(fig, tmp_path, "curves")
    assert [f.read_bytes() for f in files] == old and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(SRError, match="must be a file name"):
        save_figure(fig, tmp_path, "../curves")


def test_the_style_is_colour_blind_safe_and_readable():
    with plt.rc_context():
        use_style()
        blue, orange = plt.rcParams["axes.prop_cycle"].by_key()["color"][:2]
        assert blue == pytest.approx((1 / 255, 115 / 255, 178 / 255)) and orange == pytest.approx((222 / 255, 143 / 255, 5 / 255))
        assert min(plt.rcParams[f"{axis}tick.labelsize"] for axis in "xy") >= 9
