import { expect, test } from "vitest";
import { labels_of, num_labels } from "../src/labels.js";

test("classes have the config's names, or numbers", () => {
  expect(labels_of({ id2label: { 0: "no", 1: "yes" } })).toEqual(["no", "yes"]);
  expect(labels_of({ id2label: { 0: "no", 1: "yes" }, num_labels: 3 })).toEqual(["no", "yes"]);
  expect(labels_of({ num_labels: 3, id2label: null })).toEqual(["LABEL_0", "LABEL_1", "LABEL_2"]);
  expect([num_labels({}), num_labels({ id2label: {} })]).toEqual([2, 2]);
});
