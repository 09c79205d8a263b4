// What the build makes (world.ts).
declare module "virtual:world" {
  const world: {
    width: number;
    height: number;
    /** A path of SVG by two letters. */
    shapes: Record<string, string>;
    /** Centres of those that are too small to be seen. */
    places: Record<string, [number, number]>;
  };
  export default world;
}
