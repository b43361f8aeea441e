import { describe, expect, test } from "vitest";
import { LayerlineError } from "../src/errors.js";
import { check_source, source_name } from "../src/source.js";

const file = new File(["{}"], "config.json");

describe("sources", () => {
  test.each([["org/name"], ["https://host.test/model/"]])("%o goes on unchanged", (source) => {
    expect(check_source(source)).toBe(source);
  });

  test("a URL becomes its text", () => {
    expect(check_source(new URL("https://host.test/model"))).toBe("https://host.test/model");
  });

  test("files are found by their paths in the folder that was picked", () => {
    const files = new Map([["config.json", file]]);
    expect(check_source(files)).toBe(files);
    expect(check_source([file])).toEqual(files);
    expect(check_source({ "config.json": file })).toEqual(files);
    const picked = new File(["{}"], "config.json");
    Object.defineProperty(picked, "webkitRelativePath", { value: "my model/sub/config.json" });
    expect([...(check_source([picked]) as Map<string, File>).keys()]).toEqual(["sub/config.json"]);
  });

  test.each([
    [""],
    [" "],
    [undefined],
    [null],
    [7],
    [[]],
    [{}],
    [["config.json"]],
    [{ "config.json": "{}" }],
    [new Date()],
  ])("%o is none", (source) => {
    expect(() => check_source(source)).toThrowError(LayerlineError);
    expect(() => check_source(source)).toThrowError(expect.objectContaining({ code: "INVALID_REPO_ID" }));
  });

  test("messages name a source by what the user knows of it", () => {
    expect(source_name("org/name")).toBe("org/name");
    expect(source_name({ name: "my folder" })).toBe("my folder");
    expect(source_name([file])).toBe("the files given");
    expect(source_name(null)).toBe("a config");
  });
});
