#!/usr/bin/env python3
"""Reference values for src/vision/aligned, computed independently of it with NumPy and OpenCV: models/reference.json.

    python3 -m venv VENV && VENV/bin/pip install numpy==2.4.6 opencv-python-headless==5.0.0.93
    VENV/bin/python models/reference.py > models/reference.json

The tests of src/vision/aligned read that file. Where OpenCV has the operation it is OpenCV's (warpAffine, GaussianBlur, resize,
pointPolygonTest), everything else is NumPy in double precision; where both have it one checks the other here.
Crops are planes of red, green and blue, 0..255; points are x, y; matrices are two rows of three, pixel centres at whole numbers.
"""
import json
import sys

import cv2
import numpy as np

rng = np.random.default_rng(20)

TEMPLATES = {
    "arcface_112_v1": [[.35473, .45659], [.64527, .45659], [.5, .61154], [.37913, .77688], [.62087, .77688]],
    "arcface_112_v2": [[.34192, .46157], [.65653, .45983], [.50023, .64051], [.37098, .82469], [.63152, .82325]],
    "arcface_128": [[.36168, .40388], [.63697, .40235], [.50020, .56044], [.38710, .72161], [.61508, .72034]],
    "ffhq_512": [[.37692, .46865], [.62286, .46913], [.50124, .61332], [.39309, .72541], [.61150, .72490]],
    "mtcnn_512": [[.36563, .46734], [.63305, .46586], [.50019, .61943], [.39033, .77599], [.61179, .77476]],
}
COEFFICIENTS = {"bt601": (.299, .114), "bt709": (.2126, .0722), "bt2020": (.2627, .0593)}


def rounded(values, digits):
    """Nested lists with whole numbers as such: less to store."""
    def one(value):
        value = round(float(value), digits)
        return int(value) if value == int(value) else value
    return [one(value) for value in np.asarray(values, np.float64).ravel()]


# Alignment ---------------------------------------------------------------------------------------------------------------

def umeyama(source, target):
    """Least-squares similarity without reflection (Umeyama 1991), 3x3."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    s, t = source - source_mean, target - target_mean
    u, d, vt = np.linalg.svd(t.T @ s / len(source))
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / s.var(0).sum()
    matrix = np.eye(3)
    matrix[:2, :2] = scale * rotation
    matrix[:2, 2] = target_mean - scale * rotation @ source_mean
    return matrix


def template_cases():
    cases = []
    for name, shares in TEMPLATES.items():
        for side, size, angle, noise in [(112, 90, .1, 1), (128, 300, -.6, 4), (512, 140, 2.8, 9), (256, 700, .02, 60)]:
            template = np.array(shares) * side
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            points = (np.array(shares) - .5) * size @ turn.T + rng.uniform(100, 900, 2) + rng.normal(0, noise, (5, 2))
            points = points.round(3)
            to_crop = umeyama(points, template)
            by_cv2, _ = cv2.estimateAffinePartial2D(points, template, method=cv2.RANSAC, ransacReprojThreshold=1e4)
            assert np.allclose(by_cv2, to_crop[:2], atol=1e-4 * side), (by_cv2, to_crop)
            cases.append({"template": name, "side": side, "points": rounded(points, 3),
                          "to_picture": rounded(np.linalg.inv(to_crop)[:2], 9)})
    return cases


# Pictures ----------------------------------------------------------------------------------------------------------------

def scales(kind):
    """Luma floor, luma per 255, neutral, chroma per 255."""
    depth, unit = kind["depth"], 2 ** (kind["depth"] - 8)
    if kind["full"]:
        peak = 2 ** depth - 1
        return 0, peak, 2 ** (depth - 1), peak
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit


def to_rgb(y, cb, cr, kind):
    floor, luma, neutral, chroma = scales(kind)
    kr, kb = COEFFICIENTS[kind["matrix"]]
    y, cb, cr = (y - floor) / luma, (cb - neutral) / chroma, (cr - neutral) / chroma
    r, b = y + (2 - 2 * kr) * cr, y + (2 - 2 * kb) * cb
    return 255 * np.stack([r, (y - kr * r - kb * b) / (1 - kr - kb), b])


def to_yuv(rgb, kind):
    floor, luma, neutral, chroma = scales(kind)
    kr, kb = COEFFICIENTS[kind["matrix"]]
    r, g, b = rgb / 255
    y = kr * r + (1 - kr - kb) * g + kb * b
    return [y * luma + floor, (b - y) / (2 - 2 * kb) * chroma + neutral, (r - y) / (2 - 2 * kr) * chroma + neutral]


def smooth(height, width, low, high, sigma=1.2):
    """Soft noise of the full range low..high."""
    values = cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), sigma)
    values = (values - values.min()) / (values.max() - values.min())
    return low + values * (high - low)


def picture(width, height, kind):
    """Planes of a picture of soft colours, none out of range, chroma at its own size."""
    rgb = np.stack([smooth(height, width, 40, 215) for _ in range(3)])
    planes = to_yuv(rgb, kind)
    x, y = kind["shift"]
    planes[1:] = [plane[::1 << y, ::1 << x] for plane in planes[1:]]
    # Neighbouring chroma of another pixel could leave the range.
    neutral = scales(kind)[2]
    planes[1:] = [neutral + .5 * (plane - neutral) for plane in planes[1:]]
    return [plane.round() for plane in planes]


def place(plane, kind):
    """Samples of a plane -> picture pixels, 3x3; chroma is left-sited and vertically centred, as MPEG-2 has it."""
    if plane == 0:
        return np.eye(3)
    across, down = (1 << shift for shift in kind["shift"])
    return np.array([[across, 0, 0], [0, down, (down - 1) / 2], [0, 0, 1]])


def looks(matrix):
    """Offsets (in output steps) and weights of the looks that an output sample takes along an axis: one where the input is
    enlarged, else pairs one input sample apart, weighted by their share of the ground."""
    step = np.hypot(*matrix[:2, 0])
    if step <= 1:
        return [(0, 1)]
    if step <= 2:
        apart = min(.75 * (step - 1), .5)
        return [(-apart / step, .5), (apart / step, .5)]
    places = np.arange(-np.ceil(step / 2) + .5, np.ceil(step / 2))
    shares = np.clip(step / 2 - np.abs(places) + .5, 0, 1)
    return list(zip(places / step, shares / shares.sum()))


def warp(values, matrix, size, border=cv2.BORDER_REPLICATE):
    """values at matrix(column, row), averaged over the ground of a sample."""
    total = np.zeros(size[::-1])
    for x, across in looks(matrix):
        for y, down in looks(matrix):
            shifted = (matrix @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1]]))[:2]
            total += across * down * cv2.warpAffine(
                values.astype(np.float32), shifted, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=border, borderValue=0)
    return total


def turned(scale, angle, x, y):
    a, b = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[a, -b, x], [b, a, y], [0, 0, 1]])


KINDS = {
    "709 full 4:4:4": {"matrix": "bt709", "full": True, "depth": 8, "shift": [0, 0]},
    "601 limited 4:2:0": {"matrix": "bt601", "full": False, "depth": 8, "shift": [1, 1]},
    "2020 limited 4:2:2, 10": {"matrix": "bt2020", "full": False, "depth": 10, "shift": [1, 0]},
    "709 full 4:4:4, 16": {"matrix": "bt709", "full": True, "depth": 16, "shift": [0, 0]},
}


def pictures():
    return {name: {**kind, "width": 28, "height": 22,
                   "planes": [rounded(plane, 0) for plane in picture(28, 22, kind)]} for name, kind in KINDS.items()}


def planes_of(shown):
    width, height = shown["width"], shown["height"]
    x, y = shown["shift"]
    sizes = [(height, width)] + 2 * [(-(-height >> y), -(-width >> x))]
    return [np.array(plane, float).reshape(size) for plane, size in zip(shown["planes"], sizes)]


def crop_cases(all_pictures):
    cases = []
    for name, matrix in [
        ("709 full 4:4:4", turned(.61, .3, 11.3, 4.2)),
        ("709 full 4:4:4", turned(1, 0, 9.5, 7.25)),
        ("709 full 4:4:4", turned(.9, -.5, -3.7, 8.1)),  # over the border
        ("709 full 4:4:4", turned(1.7, .2, 5.2, .6)),
        ("709 full 4:4:4", turned(3.3, -.1, -6.2, -4.6)),
        ("601 limited 4:2:0", turned(.55, -.4, 8.3, 12.2)),
        ("601 limited 4:2:0", turned(1.9, .1, 1.3, .4)),  # luma averaged, chroma not
        ("2020 limited 4:2:2, 10", turned(.8, 0, 7.1, 5.7)),
        ("709 full 4:4:4, 16", turned(.47, 1.3, 20.2, 6.1)),
    ]:
        shown, side = all_pictures[name], 12
        samples = []
        for index, plane in enumerate(planes_of(shown)):
            way = np.linalg.inv(place(index, shown)) @ matrix
            samples.append(warp(plane, way, (side, side)))
        rgb = to_rgb(*samples, shown)
        assert rgb.min() >= 0 and rgb.max() <= 255
        cases.append({"picture": name, "to_picture": rounded(matrix[:2], 9), "side": side, "rgb": rounded(rgb, 3)})
    return cases


def paste_cases(all_pictures):
    cases = []
    for name, side, matrix, ratio in [
        ("709 full 4:4:4", 14, turned(1.37, .4, 10.3, 3.2), 1.0),
        ("709 full 4:4:4", 14, turned(1, 0, 9, 7), .6),
        ("709 full 4:4:4", 14, turned(1.8, -.3, -4.2, 9.3), .8),  # over the border
        ("709 full 4:4:4", 30, turned(.4, .25, 11.3, 6.2), 1.0),  # averaged
        ("601 limited 4:2:0", 14, turned(2.1, .1, 4.3, .4), 1.0),
        ("601 limited 4:2:0", 14, turned(1.25, -.7, 8.3, 14.2), .9),  # chroma averaged
        ("709 full 4:4:4, 16", 14, turned(1.2, 1.3, 22.2, 5.1), 1.0),
    ]:
        shown = all_pictures[name]
        new = np.stack([smooth(side, side, 30, 225) for _ in range(3)]).round(2)
        mask = np.clip(smooth(side, side, -.5, 1.5), 0, 1).round(4)
        result = []
        for index, (old, fresh) in enumerate(zip(planes_of(shown), to_yuv(new, shown))):
            way = np.linalg.inv(matrix) @ place(index, shown)
            size = old.shape[::-1]
            opacity = ratio * warp(mask, way, size, cv2.BORDER_CONSTANT)
            value = warp(fresh, way, size)
            mixed = np.rint(old + (value - old) * opacity)
            assert (mixed != old).any()
            result.append(rounded(mixed, 0))
        cases.append({"picture": name, "to_picture": rounded(matrix[:2], 9), "side": side, "rgb": rounded(new, 2),
                      "mask": rounded(mask, 4), "blend_ratio": ratio, "planes": result})
    return cases


# Masks -------------------------------------------------------------------------------------------------------------------

def box_cases():
    cases = []
    for side, blur, padding in [(36, .3, (0, 0, 0, 0)), (30, .7, (10, 5, 20, 0)), (25, 0, (0, 30, 0, 8)),
                                (36, 1, (0, 0, 0, 0))]:
        amount = int(side * .5 * blur)
        area = max(amount // 2, 1)
        mask = np.ones((side, side), np.float32)
        top, right, bottom, left = (max(area, int(side * percent / 100)) for percent in padding)
        mask[:top], mask[-bottom:], mask[:, :left], mask[:, -right:] = 0, 0, 0, 0
        if amount:
            mask = cv2.GaussianBlur(mask, (0, 0), amount * .25)
        cases.append({"side": side, "blur": blur, "padding": padding, "mask": rounded(mask, 5)})
    return cases


def soften(mask):
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 5 * mask.shape[0] / 256)
    return (blurred.clip(.5, 1) - .5) * 2


def occlusion_cases():
    cases = []
    for side in [24, 40]:
        values = smooth(side, side, -.4, 1.6, side / 16).round(4)
        cases.append({"side": side, "values": rounded(values, 4), "mask": rounded(soften(values.clip(0, 1)), 5)})
    values = smooth(256, 256, -.4, 1.6, 16).round(4)
    # Too large to be stored whole: made of a small one, and told at every 16th pixel.
    small = values[::16, ::16]
    large = cv2.resize(small, (256, 256), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    large_mask = soften(large)[::16, ::16]
    return {"whole": cases, "sampled": {"small": rounded(small, 4), "mask": rounded(large_mask, 5)}}


REGIONS = {"skin": [1], "brows": [2, 3], "eyes": [4, 5], "glasses": [6], "nose": [10], "mouth": [11], "lips": [12, 13]}


def region_cases():
    boxes = [[17, 60, 20, 450, 300], [1, 110, 90, 400, 470], [2, 140, 170, 230, 195], [3, 280, 165, 371, 190],
             [4, 150, 210, 220, 240], [5, 290, 207, 360, 238], [6, 130, 200, 240, 206], [10, 225, 230, 285, 335],
             [11, 205, 380, 305, 400], [12, 195, 362, 315, 381], [13, 200, 399, 310, 425], [14, 180, 470, 330, 512]]
    classes = np.zeros((512, 512), np.uint8)
    for number, left, top, right, bottom in boxes:
        classes[top:bottom, left:right] = number
    cases = []
    for side, wanted in [(32, ["skin"]), (40, ["brows", "eyes", "glasses"]), (48, list(REGIONS)),
                         (28, ["nose", "mouth", "lips"])]:
        chosen = np.isin(classes, [number for name in wanted for number in REGIONS[name]]).astype(np.float32)
        small = cv2.resize(chosen, (side, side), interpolation=cv2.INTER_AREA)
        cases.append({"side": side, "wanted": wanted, "mask": rounded(soften(small), 5)})
    return {"boxes": boxes, "cases": cases}


def hull_cases():
    cases = []
    for side, feather in [(24, 4), (31, 1)]:
        points = rng.uniform(.15 * side, .85 * side, (12, 2)).round(2).astype(np.float32)
        hull = cv2.convexHull(points)
        distances = [[cv2.pointPolygonTest(hull, (float(x), float(y)), True) for x in range(side)] for y in range(side)]
        share = np.clip(np.array(distances) / feather, 0, 1)
        cases.append({"side": side, "points": rounded(points, 2), "feather": feather,
                      "mask": rounded(share * share * (3 - 2 * share), 5)})
    return cases


def resize_cases():
    mask = smooth(20, 20, 0, 1, .8).round(4)
    cases = [{"to": to, "mask": rounded(cv2.resize(mask, (to, to), interpolation=how), 6)}
             for to, how in [(20, cv2.INTER_LINEAR), (27, cv2.INTER_LINEAR), (10, cv2.INTER_AREA), (7, cv2.INTER_AREA)]]
    return {"from": 20, "mask": rounded(mask, 4), "cases": cases}


# Colours -----------------------------------------------------------------------------------------------------------------

RGB_TO_XYZ = np.array([[.412453, .357580, .180423], [.212671, .715160, .072169], [.019334, .119193, .950227]])
WHITE = np.array([.950456, 1, 1.088754])


def lab_of(rgb):
    """CIE L*a*b* of sRGB pixels 0..255, channels last."""
    signal = rgb / 255
    light = np.where(signal <= .04045, signal / 12.92, ((signal + .055) / 1.055) ** 2.4)
    share = light @ RGB_TO_XYZ.T / WHITE
    f = np.where(share > 216 / 24389, np.cbrt(share), 841 / 108 * share + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def rgb_of(lab):
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    share = np.where(f > 6 / 29, f ** 3, (f - 4 / 29) * 108 / 841)
    light = (share * WHITE @ np.linalg.inv(RGB_TO_XYZ).T).clip(0, 1)
    return 255 * np.where(light <= .0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - .055)


def colour_cases():
    side = 14
    colours = rng.uniform(0, 255, (40, 3)).round(2)
    colours[:4] = [[0, 0, 0], [255, 255, 255], [3, 2, 1], [255, 0, 0]]
    by_cv2 = cv2.cvtColor((colours / 255).astype(np.float32)[None], cv2.COLOR_RGB2Lab)[0]
    assert np.abs(by_cv2 - lab_of(colours)).max() < .3  # cv2 goes by coarse tables
    assert np.allclose(rgb_of(lab_of(colours)), colours, atol=1e-3)

    new = np.stack([smooth(side, side, 60, 200) for _ in range(3)], -1).round(2)
    target = np.stack([smooth(side, side, low, high) for low, high in [(50, 220), (40, 170), (30, 150)]], -1).round(2)
    mask = smooth(side, side, 0, 1).round(4)

    def weighted(pixels):
        return np.stack([np.average(pixels[..., c], weights=mask) for c in range(3)])

    lab_new, lab_target = lab_of(new), lab_of(target)
    mean, wanted = weighted(lab_new), weighted(lab_target)
    deviation, wanted_deviation = weighted((lab_new - mean) ** 2) ** .5, weighted((lab_target - wanted) ** 2) ** .5
    matched = rgb_of((lab_new - mean) * (wanted_deviation / deviation).clip(.5, 2) + wanted)

    def light(pixels):
        def blur(values):
            return cv2.GaussianBlur(values, (0, 0), .08 * side)
        average = weighted(pixels)
        return np.stack([(blur(pixels[..., c] * mask) + 1e-3 * average[c]) / (blur(mask) + 1e-3) for c in range(3)], -1)

    gain = ((light(target) + 12) / (light(new) + 12)).clip(.4, 2.5)
    relit = ((new + 12) * gain - 12).clip(0, 255)

    def planar(pixels, digits):
        return rounded(np.moveaxis(pixels, -1, 0), digits)
    return {"colours": rounded(colours, 2), "labs": rounded(lab_of(colours), 4), "side": side, "new": planar(new, 2),
            "target": planar(target, 2), "mask": rounded(mask, 4), "matched": planar(matched, 3),
            "matched_half": planar(new + .5 * (matched - new), 3), "relit": planar(relit, 3)}


# Embeddings and sub-images ------------------------------------------------------------------------------------------------

def projection():
    embedding, emap = rng.normal(0, 2, 24).round(4), rng.normal(0, .3, (24, 24)).round(4)
    return {"embedding": rounded(embedding, 4), "emap": rounded(emap, 4),
            "source": rounded(embedding @ emap / np.linalg.norm(embedding), 7)}


def boost_cases():
    cases = []
    for side, n in [(3, 2), (2, 3), (4, 1)]:
        crop = rng.permutation(3 * (side * n) ** 2).reshape(3, side * n, side * n)
        images = crop.reshape(3, side, n, side, n).transpose(2, 4, 0, 1, 3).reshape(n * n, 3, side, side)
        assert (images[n - 1, 0, 1, 0] == crop[0, n, n - 1]).all()
        cases.append({"side": side, "n": n, "rgb": rounded(crop, 0), "images": [rounded(image, 0) for image in images]})
    return cases


if __name__ == "__main__":
    shown = pictures()
    json.dump({
        "made_with": {"numpy": np.__version__, "opencv": cv2.__version__},
        "templates": template_cases(),
        "pictures": shown,
        "crops": crop_cases(shown),
        "pastes": paste_cases(shown),
        "boxes": box_cases(),
        "occlusion": occlusion_cases(),
        "regions": region_cases(),
        "hulls": hull_cases(),
        "resize": resize_cases(),
        "colour": colour_cases(),
        "projection": projection(),
        "boost": boost_cases(),
    }, sys.stdout, separators=(",", ":"))
    print()
