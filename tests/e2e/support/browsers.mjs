import { readdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";

const VULKAN = "/usr/share/vulkan/icd.d";

/** The environment in which Vulkan's loader finds the software GPU, unless it already names a driver. */
export function vulkanDriver() {
  if (process.env.VK_DRIVER_FILES) return {};
  const file = readdirSync(VULKAN).find((name) => /^lvp_icd.*\.json$/.test(name));
  if (!file) throw new Error(`${VULKAN} has no driver of the software GPU: install mesa-vulkan-drivers`);
  return { VK_DRIVER_FILES: join(VULKAN, file) };
}

const CHROMIUM = process.env.CHROME_PATH || "/usr/bin/chromium";
const CHROMIUM_ARGS = [
  "--no-sandbox",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const WEBGPU_ARG = "--enable-unsafe-webgpu";

/** Headless Chromium, on SwiftShader where there is no GPU; with a profile's folder, what it keeps is there afterwards. */
export function launchChromium({ webgpu = true, profile } = {}) {
  const args = [...CHROMIUM_ARGS, webgpu ? WEBGPU_ARG : "--disable-features=WebGPU"];
  const options = { executablePath: CHROMIUM, args };
  return profile ? chromium.launchPersistentContext(profile, options) : chromium.launch(options);
}

/**
 * The same, but for measurements of what comes over the network: whoever watches requests, as Playwright always does,
 * has the page's process keep the last 200 MB of their bodies, and halves their speed.
 */
export function launchUnwatchedChromium({ profile } = {}) {
  return puppeteer.launch({
    browser: "chrome",
    executablePath: CHROMIUM,
    headless: true,
    networkEnabled: false,
    protocolTimeout: 0,
    args: [...CHROMIUM_ARGS, WEBGPU_ARG],
    ...(profile && { userDataDir: profile }),
  });
}

/** Headless Firefox, on lavapipe where there is no GPU. */
export function launchFirefox() {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: process.env.FIREFOX_PATH || "/usr/bin/firefox-esr",
    headless: true,
    // A call lasts as long as the model needs.
    protocolTimeout: 0,
    env: { ...process.env, ...vulkanDriver() },
    extraPrefsFirefox: {
      "dom.webgpu.enabled": true,
      "dom.webgpu.workers.enabled": true,
      "gfx.webgpu.ignore-blocklist": true,
      "gfx.webgpu.force-enabled": true,
      "security.sandbox.gpu.level": 0,
    },
  });
}
