// What a test runs in the page gets the package from here, and keeps what it loads in `state`.
import * as layerline from "layerline";

globalThis.layerline = layerline;
globalThis.state = {};
// Most tests are about what is fetched; those of the cache turn it on.
layerline.env.use_browser_cache = false;
// A GPU that is a program on the CPU stands for a real one.
layerline.env.allow_software_gpu = true;
