"""The figures that a person looks at first, in words."""

from __future__ import annotations

from typing import Any


def headline_figures(results: dict[str, Any]) -> list[dict[str, str]]:
    """Name, value and meaning of the main figures of ``results.json``, for tables."""
    segmentation, kmeans = results["segmentation"], results["kmeans"]
    figures = [
        (
            "photographs",
            f"{results['images']}",
            f"of the split {results['split']}, {results['labelled_images']} labelled",
        ),
        ("regions per image", f"{segmentation['regions_per_image']:.2f}", "that the segmenter finds"),
        ("modularity", f"{segmentation['hard_modularity']:.4f}", "of the regions, mean over the photographs"),
    ]
    if "covering" in segmentation:
        figures += [
            ("covering", _optional(segmentation["covering"]), "of the annotators' regions; 1 is best"),
            ("probabilistic Rand index", _optional(segmentation["rand_index"]), "1 is best"),
            (
                "variation of information",
                _optional(segmentation["variation_of_information"]),
                "in bits; 0 is best",
            ),
        ]
    if "share_of_attainable" in segmentation:
        figures.append(
            (
                "share of attainable modularity",
                f"{segmentation['share_of_attainable']:.3f}",
                f"of what free centers reach on {segmentation['attainable_images']} photographs",
            )
        )
    if "miou" in kmeans:
        bound, foreground = results["upper_bound"], results["foreground"]
        figures += [
            (
                "k-means mIoU",
                _mean(kmeans, "miou"),
                f"{kmeans['clusters']} clusters, {kmeans['seeds']} seeds",
            ),
            (
                "k-means pixel accuracy",
                _mean(kmeans, "accuracy"),
                "over the same seeds",
            ),
            ("upper bound mIoU", f"{bound['miou']:.3f}", "every region given its majority class"),
            ("upper bound pixel accuracy", f"{bound['accuracy']:.3f}", "likewise"),
            (
                "foreground IoU",
                _optional(foreground["iou"]),
                "foreground regions against all classes but background",
            ),
        ]
        if results.get("knn"):
            k = "5" if "5" in results["knn"] else next(iter(results["knn"]))
            figures.append(("k-NN mIoU", f"{results['knn'][k]['miou']:.3f}", f"at k = {k}"))
        for scope, angles in (("within a photograph", "single_images"), ("over all", "data_set")):
            found = results["angles"][angles]
            figures.append(
                (
                    f"angles {scope}",
                    f"{_optional(found['intra_class'], 1)}° / {_optional(found['inter_class'], 1)}°",
                    "of tokens to the center of their class / of that to the nearest other",
                )
            )
    else:
        figures.append(("k-means clusters", f"{kmeans['clusters']}", "no ground truth to compare with"))
    return [{"name": name, "value": value, "meaning": meaning} for name, value, meaning in figures]


def protocols(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Figures of each protocol that gives regions a class, by its title; empty without ground truth."""
    if not results["labelled_images"]:
        return {}
    found = {"k-means": results["kmeans"]}
    found |= {f"k-NN, k = {k}": figures for k, figures in results.get("knn", {}).items()}
    titles = {
        "pixels_where_no_background": "MaskCLIP, pixels that are no background",
        "pixels_in_foreground": "MaskCLIP, pixels in foreground regions",
        "regions": "regions + MaskCLIP",
    }
    found |= {titles[name]: figures for name, figures in results.get("language", {}).items()}
    return {**found, "upper bound": results["upper_bound"]}


def _mean(kmeans: dict[str, Any], name: str) -> str:
    deviation = f" ± {kmeans[f'{name}_deviation']:.3f}" if kmeans["seeds"] > 1 else ""
    return f"{kmeans[name]:.3f}{deviation}"


def _optional(value: float | None, digits: int = 3) -> str:
    return "not defined" if value is None else f"{value:.{digits}f}"
