import itertools

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.path import Path as Line
from PIL import Image

from srlib.core.errors import SRError
from srlib.core.protocols import protocol
from srlib.draw.figures import (
    DPI,
    Example,
    error_map,
    psnr_against_cost,
    save_figure,
    training_curves,
    use_style,
    visual_comparison,
)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def splits(seeds=3):
    rng = np.random.default_rng(0)
    rows = [
        {"method": f"{low}+{10 - low}", "seed": s, "seconds": 0.4 + 0.2 * (10 - low), "mult_adds": 100.0 * (11 - low)}
        | {"psnr": 34.1 - 0.003 * (low - 6) ** 2 + 0.01 * rng.normal()}
        for low in range(10, -1, -1)
        for s in range(seeds)
    ]
    return pd.DataFrame(rows)


def boxes(fig, ax):
    fig.draw_without_rendering()
    return [text.get_window_extent() for text in ax.texts if text.get_text()]


@pytest.mark.parametrize(("x", "label"), [("seconds", "Time (s)"), ("mult_adds", "Mult-adds (G, 1280×720)")])
@pytest.mark.parametrize("connect", [False, True])
def test_psnr_against_cost_labels_every_point_without_overlap(x, label, connect):
    fig = psnr_against_cost(splits(), x, where="Set5 ×2", highlight=["6+4"], connect=connect)
    (ax,) = fig.axes
    assert ax.get_xlabel() == label and ax.get_ylabel() == "PSNR (dB), Set5 ×2"
    assert [text.get_text() for text in ax.texts if text.get_text()] == list(dict.fromkeys(splits()["method"]))
    assert [text.get_text() for text in ax.texts if text.get_fontweight() == "bold"] == ["6+4"]
    extents = boxes(fig, ax)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(extents, 2))
    means = splits().groupby("method", sort=False)[[x, "psnr"]].mean().to_numpy()
    for point in ax.transData.transform(means):
        assert not any(box.contains(*point) for box in extents)
    assert all(ax.bbox.x0 <= box.x0 and box.x1 <= ax.bbox.x1 + 1 for box in extents)
    assert "3 seeds" in ax.get_title(loc="left")


def leaders(ax):
    """The lines from labels to points, in pixels: from the label to the point."""
    return [ax.transData.transform(arrow.get_path().vertices[[0, -1]]) for arrow in ax.patches]


def test_psnr_against_cost_joins_a_label_to_its_point_only_where_it_had_to_move_away():
    apart = pd.DataFrame({"method": ["a", "b"], "psnr": [30.0, 31.0], "seconds": [1.0, 2.0]})
    (ax,) = psnr_against_cost(apart).axes
    assert [text.get_text() for text in ax.texts] == ["a", "b"] and not ax.patches
    crowd = pd.DataFrame({"method": [f"a long name {n}" for n in range(9)], "psnr": 30.0, "seconds": np.linspace(1, 1.02, 9)})
    crowd.loc[9] = ["far", 31.0, 2.0]
    fig = psnr_against_cost(crowd)
    (ax,) = fig.axes
    fig.draw_without_rendering()
    far = ax.transData.transform((2.0, 31.0))
    lines = leaders(ax)
    assert lines and all(np.hypot(*(end - far)) > 50 for _, end in lines)


def test_a_label_at_the_right_edge_does_not_cover_its_point():
    sizes = [326_905, 333_841, 368_521, 424_009]
    table = pd.DataFrame(
        {
            "method": [f"KPN (K={k})" for k in (5, 7, 13, 19)],
            "psnr": [27.664796, 27.684266, 27.723732, 27.746437],
            "parameters": sizes,
        }
    )
    fig = psnr_against_cost(table, "parameters", where="a set", about="protocol, seeds and steps")
    (ax,) = fig.axes
    extents = boxes(fig, ax)  # draws, and so decides where points are
    points = ax.transData.transform(table[["parameters", "psnr"]])
    for box, (x, _) in zip(extents, points, strict=True):
        assert box.x1 < x or x < box.x0


def test_labels_of_a_crowd_stay_apart_and_inside():
    crowd = pd.DataFrame({"method": [f"a long name {n}" for n in range(9)], "psnr": 30.0, "seconds": np.linspace(1, 1.02, 9)})
    crowd.loc[9] = ["far", 31.0, 2.0]
    fig = psnr_against_cost(crowd)
    (ax,) = fig.axes
    extents = boxes(fig, ax)
    assert len(extents) == 10
    for a, b in itertools.combinations(extents, 2):
        assert min(a.x1, b.x1) - max(a.x0, b.x0) < 3 or min(a.y1, b.y1) - max(a.y0, b.y0) < 3  # pixels of an overlap
    assert all(ax.bbox.x0 - 1 <= box.x0 and box.x1 <= ax.bbox.x1 + 1 for box in extents)
    assert all(ax.bbox.y0 - 1 <= box.y0 and box.y1 <= ax.bbox.y1 + 1 for box in extents)


def test_the_line_to_a_label_crosses_no_other_label():
    near = {"long name of a method": (128, 29.317), "RDN, fused": (414, 29.27), "RRDBNet, fused": (360, 29.212)}
    near |= {"EDSR": (307, 29.386), "IMDN": (174, 29.257), "SRResNet": (307, 29.283), "a": (1430, 29.09), "b": (149, 28.947)}
    near["c"] = (299, 29.525)
    rows = [{"method": method, "parameters": 1000 * size, "psnr": psnr} for method, (size, psnr) in near.items()]
    rows += [{"method": "seeds", "parameters": 174000, "psnr": psnr} for psnr in (28.95, 29.2, 29.46)]
    fig = psnr_against_cost(pd.DataFrame(rows), "parameters")
    fig.draw_without_rendering()
    (ax,) = fig.axes
    extents = [text.get_window_extent() for text in ax.texts]
    lines = leaders(ax)
    assert lines and len(extents) == 10
    for start, end in lines:
        own = min(extents, key=lambda box: np.hypot(*(np.clip(start, box.min, box.max) - start)))
        assert not any(Line([start, end]).intersects_bbox(box, filled=False) for box in extents if box is not own)


def test_a_line_below_says_how_the_points_came_about_and_covers_nothing():
    said = "protocol btsrn; one seed each, another may move a point by 0.1 dB; 1,200 steps each"
    fig = psnr_against_cost(splits(), about=said)
    fig.draw_without_rendering()
    (ax,), line = fig.axes, fig._supxlabel
    assert line.get_text().replace("\n", " ") == said
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


def test_psnr_against_cost_takes_a_log_axis_for_costs_far_apart():
    table = pd.DataFrame({"method": ["a", "b"], "psnr": [30.0, 31.0], "mult_adds": [1.0, 600.0]})
    assert psnr_against_cost(table, "mult_adds").axes[0].get_xscale() == "log"
    assert psnr_against_cost(table.assign(mult_adds=[1.0, 11.0]), "mult_adds").axes[0].get_xscale() == "log"
    for near in ([1.0, 9.0], [0.0, 600.0]):
        assert psnr_against_cost(table.assign(mult_adds=near), "mult_adds").axes[0].get_xscale() == "linear"


def test_psnr_against_cost_says_what_is_wrong():
    table = splits()
    for args, message in (
        ({"table": table, "x": "second"}, "unknown x 'second'. Did you mean 'seconds'"),
        ({"table": table, "highlight": ["4+5"]}, "unknown highlight '4.5'"),
        ({"table": table.drop(columns="psnr")}, "table lacks the column 'psnr'"),
        ({"table": table.assign(seconds=np.nan)}, "misses values of psnr or seconds"),
        ({"table": table.iloc[:0]}, "no rows"),
    ):
        with pytest.raises(SRError, match=message):
            psnr_against_cost(**args)


def example(name="one", side=64, box=(8, 16, 24, 32), off=10):
    hr = np.random.default_rng(len(name)).integers(60, 180, (side, side, 3), dtype=np.uint8)
    return Example(name, hr, {"Bicubic": hr.astype(float) + off, "BTSRN": hr.copy()}, box)


def test_error_map_sums_over_colours():
    hr = np.zeros((4, 5, 3), np.uint8)
    sr = hr + np.array([1, 2, 3], np.uint8)
    assert (error_map(sr, hr) == 6).all() and (error_map(hr, sr) == 6).all()
    assert (error_map(np.full((4, 5), 3.0), hr) == 9).all()


def test_visual_comparison_shows_pictures_errors_and_numbers():
    fig = visual_comparison([example("one"), example("two")], protocol("btsrn_div2k"), 2)
    assert len(fig.axes) == 2 * 6
    (*first, first_map, second_map, bar), second = fig.axes[:6], fig.axes[6:]
    assert [ax.get_title() for ax in first] == ["Bicubic", "BTSRN", "HR (ground truth)"]
    assert [first[0].get_ylabel(), second[0].get_ylabel()] == ["one", "two"] and first_map.get_ylabel() == "|SR − HR|"
    assert first[0].get_xlabel() == f"{20 * np.log10(255 / 10):.2f} dB" and first[1].get_xlabel() == "inf dB"
    assert "grey levels" in bar.get_ylabel()
    for picture, error in zip(first, (first_map, second_map), strict=False):  # each over its own error
        (left, top), (x, y) = picture.get_position().p0, error.get_position().p0
        assert left == x and y + error.get_position().height < top
    maps = [ax.images[0] for ax in (first_map, second_map, second[3], second[4])]
    assert len({image.get_clim() for image in maps}) == 1  # one scale, so that colours compare
    assert (maps[0].get_array() == 30).all() and (maps[1].get_array() == 0).all()
    assert (first[2].images[0].get_array() == example("one").hr[8:32, 16:48]).all()
    assert "24" in fig.texts[-1].get_text() and "RGB" in fig.texts[-1].get_text()


def test_visual_comparisons_stand_side_by_side_where_they_fit():
    def corners(methods):
        one = example()
        shown = Example("one", one.hr, {f"{method}": one.hr for method in range(methods)}, one.box)
        fig = visual_comparison(3 * [shown], protocol("y"), 2)
        assert fig.get_size_inches()[0] < 13.1
        return [tuple(np.round(ax.get_position().p0, 6)) for ax in fig.axes[:: 2 * methods + 2]]

    (x, y), (right, same), (left, below) = corners(2)
    assert right > x and same == y and left == x and below < y
    found = corners(5)
    assert len({x for x, _ in found}) == 1 and [y for _, y in found] == sorted({y for _, y in found}, reverse=True)


def test_visual_comparison_enlarges_by_whole_pixels(tmp_path):
    one = example("one")
    (file, _) = save_figure(visual_comparison([one], protocol("btsrn"), 2, panel=1.0), tmp_path, "figure_5")
    picture = np.asarray(Image.open(file).convert("RGB"))
    k = round(DPI / 32)
    part = one.hr[8:32, 16:48]
    truth = part.repeat(k, axis=0).repeat(k, axis=1)
    corners = np.argwhere((picture == part[0, 0]).all(axis=2))
    found = [(y, x) for y, x in corners if np.array_equal(picture[y : y + 24 * k, x : x + 32 * k], truth)]
    assert len(found) == 2  # BTSRN is exact in this example, so its picture is the ground truth too


def test_visual_comparison_takes_grey_images_and_says_what_is_wrong():
    grey = np.full((40, 40), 90, np.uint8)
    visual_comparison([Example("grey", grey, {"Bicubic": grey + 5.0}, (0, 0, 40, 40))], protocol("btsrn"), 2)
    good, by = example(), protocol("btsrn")
    for examples, message in (
        ([], "examples is empty"),
        ([good, example("two", box=(8, 16, 24, 24))], "two has other methods or another size of box than one"),
        ([example(box=(50, 0, 24, 32))], r"box \(=\(50, 0, 24, 32\)\) of one must lie inside \(64, 64\)"),
        ([example(box=(0, 0, 4, 4))], "at least 8 pixels"),
        ([Example("one", good.hr, {"Bicubic": good.hr[:32]}, good.box)], r"Bicubic of one is \(32, 64\), HR is \(64, 64\)"),
    ):
        with pytest.raises(SRError, match=message):
            visual_comparison(examples, by, 2)


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


def test_training_curves_say_what_is_wrong():
    for histories, message in (
        ({}, "histories is empty"),
        ({"a": history().drop(columns="loss")}, "history of 'a' has no steps with loss"),
        ({"a": history().iloc[:0]}, "history of 'a' has no steps"),
    ):
        with pytest.raises(SRError, match=message):
            training_curves(histories)


def test_saved_figures_are_the_same_byte_for_byte(tmp_path):
    def save(folder):
        return save_figure(psnr_against_cost(splits(), connect=True), tmp_path / folder, "figure_3")

    first, second = save("a"), save("b")
    assert [f.name for f in first] == ["figure_3.png", "figure_3.svg"]
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in second]
    assert Image.open(first[0]).info["dpi"][0] == pytest.approx(DPI, abs=0.1)
    assert "<svg" in first[1].read_text() and "<dc:date>" not in first[1].read_text()
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_points_lie_beside_the_figure_that_draws_them(tmp_path):
    points = splits()
    files = save_figure(psnr_against_cost(points, connect=True), tmp_path, "figure_3", points)
    assert [f.name for f in files] == ["figure_3.png", "figure_3.svg", "figure_3.csv"]
    pd.testing.assert_frame_equal(pd.read_csv(files[-1]), points, rtol=1e-7, check_dtype=False)


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    fig = training_curves({"a": history()})
    files = save_figure(fig, tmp_path, "curves")
    old = [f.read_bytes() for f in files]

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SRError, match="No space left"):
        save_figure(psnr_against_cost(splits()), tmp_path, "curves")
    assert [f.read_bytes() for f in files] == old and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(SRError, match="must be a file name"):
        save_figure(fig, tmp_path, "../curves")


def test_the_style_is_colour_blind_safe_and_readable():
    with plt.rc_context():
        use_style()
        assert plt.rcParams["axes.prop_cycle"].by_key()["color"][:2] == [
            (0.00392156862745098, 0.45098039215686275, 0.6980392156862745),
            (0.8705882352941177, 0.5607843137254902, 0.0196078431372549),
        ]
        assert min(plt.rcParams[f"{axis}tick.labelsize"] for axis in "xy") >= 9
