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
        ("regions per image", f"{segmentation['regions_per_image']:.2f}", "found by the network"),
        ("modularity", f"{segmentation['modularity']:.4f}", "mean over the photographs"),
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
                f"{kmeans['miou']:.3f} ± {kmeans['miou_deviation']:.3f}",
                f"{kmeans['clusters']} clusters, {kmeans['seeds']} seeds",
            ),
            (
                "k-means pixel accuracy",
                f"{kmeans['accuracy']:.3f} ± {kmeans['accuracy_deviation']:.3f}",
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
    else:
        figures.append(("k-means clusters", f"{kmeans['clusters']}", "no ground truth to compare with"))
    return [{"name": name, "value": value, "meaning": meaning} for name, value, meaning in figures]


def _optional(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
